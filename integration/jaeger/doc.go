// Package jaeger shows an incident to a real Jaeger and asks it what somebody
// who is paged would ask. It is a module of its own for the sake of its go.mod:
// Jaeger is a tool there, at a version of its own, with what it needs at the
// versions that it was released with.
//
//	make jaeger
//
// builds Jaeger, which takes minutes the first time, and runs the test.
//
// To move to another version: copy that version's go.sum here first, and then
// go get -tool github.com/jaegertracing/jaeger/cmd/jaeger@VERSION. The copy,
// whose own sum is in the checksum database, vouches for dependencies that a
// proxy's mirror of the database may lack.
package jaeger
