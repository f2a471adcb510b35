package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// A fault is a way in which a client's transport dies, or only seems to.
type fault string

const (
	faultBlackhole fault = "blackhole"
	faultClosed    fault = "closed"
	faultTunnel    fault = "tunnel"
	faultDown      fault = "down"
)

func faults() []fault { return []fault{faultBlackhole, faultClosed, faultTunnel, faultDown} }

func faultList() []string {
	names := make([]string, 0, len(faults()))
	for _, f := range faults() {
		names = append(names, string(f))
	}
	return names
}

func faultNames() string { return strings.Join(faultList(), ", ") }

func parseFault(name string) (fault, error) {
	if f := fault(name); slices.Contains(faults(), f) {
		return f, nil
	}
	return "", fmt.Errorf("unknown fault %q: choose one of %s", name, faultNames())
}

// headline says what happens, for people.
func (f fault) headline() string {
	switch f {
	case faultBlackhole:
		return "the established HTTP/2 connection swallows everything; new ones would work"
	case faultClosed:
		return "somebody closes the shared session for good"
	case faultTunnel:
		return "the tunnel under the dialer dies; every dial fails from now on"
	case faultDown:
		return "the upstream itself goes down and comes back; the transport is fine"
	}
	return string(f)
}

// victim is what dies of it.
func (f fault) victim() string {
	switch f {
	case faultClosed:
		return "session"
	case faultTunnel:
		return "tunnel"
	}
	return "connection"
}

// next is what to look at after it, on the command line.
func (f fault) next() string {
	following := map[fault]fault{faultBlackhole: faultTunnel, faultTunnel: faultClosed, faultClosed: faultDown}
	if n, ok := following[f]; ok {
		return "-fault " + string(n)
	}
	return "-serve :8080"
}

// undo says how the fault ends, for people.
func (f fault) undo() string {
	if f == faultDown {
		return "Undone by POST /chaos/" + chaosNone + "."
	}
	return "Nothing undoes it: what is dead stays dead until a fresh transport takes its place."
}

// passes reports whether the fault ends by itself: no fresh transport helps,
// and none is needed afterwards.
func (f fault) passes() bool { return f == faultDown }

// A link is one client's way to the embedded upstream, and where it can break.
type link struct {
	door     *door
	sessions *sessions
}

func newLink(ctx context.Context, u *upstream, cfg sessionConfig) (*link, error) {
	d, err := u.open(ctx)
	if err != nil {
		return nil, err
	}
	cfg.roots = u.roots
	return &link{door: d, sessions: &sessions{cfg: cfg}}, nil
}

// url is where the client of this link finds the upstream.
func (l *link) url() string { return "https://" + l.door.address }

// inject breaks the link. What is broken on the client's side is the session
// built last, which is the one in service.
func (l *link) inject(f fault) {
	switch f {
	case faultBlackhole:
		l.door.silence()
	case faultClosed:
		_ = l.sessions.latest.Load().Close() // always nil
	case faultTunnel:
		l.sessions.latest.Load().tunnel.shutdown()
	case faultDown:
		l.door.shut()
	}
}

// heal undoes what a fresh transport cannot: it brings the upstream back. Of
// the other faults nothing is left to undo, the dead stay dead.
func (l *link) heal(ctx context.Context) error { return l.door.reopen(ctx) }
