// Package llm puts the clients of language models above respawn, in a module of its own,
// since they take minutes to compile. It holds tests only. The examples are the recipes
// of docs/clients.md.
package llm
