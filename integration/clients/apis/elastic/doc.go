// Package elastic puts go-elasticsearch above respawn: see package clients. It holds tests
// only, apart from those of the other services because go-elasticsearch takes minutes to
// compile. The example is the recipe of docs/clients.md.
package elastic
