package core

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAuthority(t *testing.T) {
	for _, a := range []Authority{
		{"http", "a.test", "80"}, {"https", "2001:db8::1", "443"}, {"http+unix", "/run/a.sock", ""}, {"", "", "1"},
	} {
		assert.Equal(t, a.Scheme+"://"+net.JoinHostPort(a.Host, a.Port), a.String())
		assert.Equal(t, a, a.Clone())
	}
	assert.Empty(t, Authority{}.String())
	for port, want := range map[string]int{"": 0, "0": 0, "80": 80, "65535": 65535, "99999": 99999, "8x": 0, "+8": 0} {
		assert.Equal(t, want, Authority{Port: port}.PortNumber(), port)
	}
}
