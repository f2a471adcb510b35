// Package layers puts above respawn what people wrap around a transport: retries, tokens
// and tracing. It holds tests only. The examples are the recipes of docs/clients.md.
package layers
