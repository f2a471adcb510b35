// Package protocols puts above respawn what speaks another protocol over HTTP: RPCs and
// WebSockets. It holds tests only. The examples are the recipes of docs/clients.md.
package protocols
