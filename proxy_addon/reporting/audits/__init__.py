"""The result of an audit for the terminal, for spreadsheets and for build servers."""
