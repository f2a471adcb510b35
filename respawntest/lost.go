package respawntest

import (
	"net/http"

	"github.com/respawnhttp/respawn/internal/build"
)

// loses notes what base has and the fresh transport has not.
func (i *inspection) loses(fresh http.RoundTripper, baseSaid, freshSaid answers) {
	if i.base == nil {
		return
	}
	was, _ := build.Outermost[*http.Transport](i.base)
	is, _ := build.Outermost[*http.Transport](fresh)
	switch {
	case lostProtocol(baseSaid, freshSaid), offersHTTP2(was) && is != nil && !offersHTTP2(is):
		i.found("HTTP/2 is lost: base speaks it, and the factory's transport does not; an http.Transport with a TLSClientConfig or dialer of its own needs ForceAttemptHTTP2, and Protocols and TLSNextProto must not rule it out")
	case pings(was) && is != nil && !mayPing(is):
		i.found("HTTP/2 pings are lost: base has them, and the factory's transport would not find a dead connection; set HTTP2.SendPingTimeout as base has it")
	}
	if says(i.base) && !says(fresh) {
		i.found("Err is lost: base has a method Err() error that reports when base has ended, and the factory's transport has none, so requests would be lost when it ends; give its outermost wrapper that method")
	}
}

// lostProtocol reports whether an url was answered over HTTP/2 by base alone.
func lostProtocol(base, fresh answers) bool {
	for n := range min(len(base), len(fresh)) {
		if base[n].protocol == 2 && fresh[n].protocol == 1 {
			return true
		}
	}
	return false
}

// offersHTTP2 goes by the docs of [http.Transport]: Protocols, where it is set;
// TLSNextProto, which net/http fills in at the first request; and what turns HTTP/2 off
// where nobody asks for it.
func offersHTTP2(t *http.Transport) bool {
	switch {
	case t == nil:
		return false
	case t.Protocols != nil:
		return t.Protocols.HTTP2()
	case t.TLSNextProto != nil:
		return t.TLSNextProto["h2"] != nil
	case t.ForceAttemptHTTP2:
		return true
	}
	//lint:ignore SA1019 setting these still turns HTTP/2 off
	dials := t.Dial != nil || t.DialTLS != nil || t.DialContext != nil || t.DialTLSContext != nil
	return t.TLSClientConfig == nil && !dials
}

// pings reports whether t sends pings over either kind of HTTP/2.
func pings(t *http.Transport) bool {
	unencrypted := t != nil && t.Protocols != nil && t.Protocols.UnencryptedHTTP2()
	return (unencrypted || offersHTTP2(t)) && t.HTTP2 != nil && t.HTTP2.SendPingTimeout > 0
}

// mayPing is pings for a t that x/net may have set pings on, where nobody can read them:
// our clone of it has some then.
func mayPing(t *http.Transport) bool { return pings(build.CloneTransport(t)) }

func says(rt http.RoundTripper) bool {
	_, ok := rt.(interface{ Err() error })
	return ok
}
