// Package docker puts the client of the Docker daemon above respawn: see package
// clients. It holds tests only. The example is the recipe of docs/clients.md.
package docker
