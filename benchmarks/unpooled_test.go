package main

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every request of the fallback makes a connection and leaves none.
func TestUnpooledConnectsEachTime(t *testing.T) {
	u, err := startUpstream()
	require.NoError(t, err)
	defer u.close()
	for _, proto := range []protocol{u.h1(true), u.h2()} {
		w := newWire()
		rt := unpooled{func() *http.Transport {
			transport := proto.client()
			transport.DialContext = w.dial
			return transport
		}}
		for n := range int64(5) {
			require.NoError(t, exchange(rt, get(hurried{context.Background()}, proto.url), make([]byte, 2*bodySize)))
			assert.Equal(t, n+1, w.dials.Load())
		}
		assert.Zero(t, leftOver(w), proto.name)
	}
}
