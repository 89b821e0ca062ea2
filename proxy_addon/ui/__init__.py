"""The live pages: a server that shows what is in a store, while it comes in. It writes nothing."""
