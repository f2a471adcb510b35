package core

// An Authority is what streaks are counted by: scheme, host and port in the
// form of RFC 3986, section 6.2.2 and 6.2.3, so that one server has one streak.
// The zero value is no authority's.
type Authority struct{ Scheme, Host, Port string }

// String returns scheme://host:port, and nothing for the zero value.
func (a Authority) String() string {
	if a == (Authority{}) {
		return ""
	}
	return a.Scheme + "://" + bracketed(a.Host) + ":" + a.Port
}

// bracketed tells an IPv6 address from the port that follows it, as
// net.JoinHostPort does.
func bracketed(host string) string {
	for i := range len(host) {
		if host[i] == ':' {
			return "[" + host + "]"
		}
	}
	return host
}

// PortNumber returns the port as telemetry has it, 0 for none.
func (a Authority) PortNumber() int {
	n := 0
	for i := range len(a.Port) {
		d := a.Port[i]
		if d < '0' || d > '9' {
			return 0
		}
		n = 10*n + int(d-'0')
	}
	return n
}

// Clone lets go of the URL that a is a part of.
func (a Authority) Clone() Authority {
	return Authority{cloned(a.Scheme), cloned(a.Host), cloned(a.Port)}
}

func cloned(s string) string { return string([]byte(s)) }
