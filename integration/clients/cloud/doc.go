// Package cloud puts the SDKs of object stores and clouds above respawn: see package
// clients. It holds tests only. The examples are the recipes of docs/clients.md.
package cloud
