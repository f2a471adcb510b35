// Package kubernetes puts client-go above respawn: see package clients. It holds tests
// only. The examples are the recipes of docs/clients.md.
package kubernetes
