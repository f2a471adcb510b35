// Package services puts the clients of well-known services above respawn. It holds tests
// only. The examples are the recipes of docs/clients.md.
package services
