// Package jaeger shows an incident to a real Jaeger and asks it what somebody who is
// paged would ask. It is a module of its own because of its go.mod, which has Jaeger as
// a tool. Jaeger's dependencies stay there, at the versions that Jaeger was released
// with.
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
