// Package browser looks at the gateway's debug page as a person does: in a
// browser, before, during and after an incident, on a desktop, on a phone and
// in the dark. It holds tests only, in a module of its own, so that nobody who
// uses respawn depends on what they need.
//
// It takes Chromium from the system (Debian's package chromium) and leaves its
// screenshots in RESPAWN_ARTIFACTS, or in artifacts/ at the root of the
// repository.
package browser
