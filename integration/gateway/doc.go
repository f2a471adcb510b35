// Package gateway looks at the gateway of examples/gateway as those who run it
// do: in a browser, before, during and after an incident, on a desktop, on a
// phone and in the dark; and as Kubernetes does. It holds tests only, in a
// module of its own, so that nobody who uses respawn depends on what they need.
//
// It takes Chromium from the system (Debian's package chromium) and leaves its
// screenshots in RESPAWN_ARTIFACTS, or in artifacts/ at the root of the
// repository.
package gateway
