"""The live pages: a server that shows what is in a store and what comes in. It writes nothing."""
