// Package clients puts the HTTP clients that people really use, such as SDKs, above
// respawn, and both through the incidents that respawn is for. It has no library in it:
// the modules in the folders below have, one for each family, so that the dependencies
// of one are not those of the others.
//
// A [Client] describes a library, and its Test method puts the library through
// everything. The incidents happen on a network of respawntest, in synctest bubbles.
package clients

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
)

// A Client describes a library: the upstream that it talks to, how it adopts a
// transport, and what it makes of a dead one.
type Client struct {
	// Upstream answers what Calls ask. What answers a stream sends it through [Pieces],
	// so that there is time for an incident between two of them.
	Upstream http.Handler

	// Plain makes the upstream's URL http, with HTTP/1. Otherwise it is https, with
	// HTTP/2 for libraries that speak it.
	Plain bool

	// Base makes the transport that users of the library have without respawn. It must
	// reach the upstream through wire: see [Wire.Prepare]. Nil stands for a clone of
	// http.DefaultTransport.
	Base func(wire *Wire) (*http.Transport, error)

	// Adopt makes a client of the library, with its defaults, that sends everything
	// through rt. Rt is respawn's or, for comparison, a bare transport.
	Adopt func(t testing.TB, rt http.RoundTripper, url string) Calls

	// Attempts is how often the library sends the request of a Call, by default, when
	// each attempt fails for want of a connection. 0 stands for 1: no retries.
	Attempts int

	// ClosesIdle says that the library closes all idle connections when a Call fails. That
	// rids even HTTP/2 of a silent connection, as long as no other request is on it, and
	// costs other hosts theirs. The test fails if it is not so.
	ClosesIdle bool

	// OneShot says that each Call has a connection of its own, as one with Upgrade has.
	OneShot bool

	// HidesErrors says that the transport's error cannot be found, by errors.Is, in the
	// error that a Call returns. The test fails if it can.
	HidesErrors bool
}

// Calls are what users of a library do with it.
type Calls struct {
	// Call asks once, and returns an error unless the answer is the right one. It must
	// heed ctx.
	Call func(ctx context.Context) error

	// Stream asks for an answer in pieces, such as events or a long body, and calls
	// piece with each as soon as it is there. Nil: the library has no streams.
	Stream func(ctx context.Context, piece func(string)) error

	// Close ends what Adopt has started. It can be nil.
	Close func()
}

// Test puts the library through each incident, in a subtest and a world of its own.
func (c Client) Test(t *testing.T) {
	for _, incident := range []struct {
		name string
		run  func(*testing.T, Client, *World)
	}{
		{"a call", call},
		{"a stream across Recreate", streamAcrossRecreate},
		{"a dead dialer", deadDialer},
		{"a black hole", blackHole},
		{"an upstream that is down", upstreamDown},
		{"a connection that is idle elsewhere", idleElsewhere},
		{"Close", closed},
	} {
		t.Run(incident.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { incident.run(t, c, NewWorld(t, c)) })
		})
	}
}

// attempts returns how often a Call is sent.
func (c Client) attempts() int { return max(c.Attempts, 1) }
