// Package servers puts respawn's middleware, its health handler and a recovering
// transport into the routers and the reverse proxy that people really serve with. It
// holds tests only, in a module of its own, so that nobody who uses respawn depends on
// what they need. The examples are the recipes of docs/clients.md.
package servers
