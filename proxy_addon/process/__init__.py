"""What every process of ours does alike: it ends on signals, writes lines without waiting for who reads them, and logs."""
