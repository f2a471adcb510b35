package build

import (
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A wrapper says what it wraps.
type wrapper struct {
	http.RoundTripper
	wrapped func() http.RoundTripper
}

func (w *wrapper) WrappedRoundTripper() http.RoundTripper { return w.wrapped() }

func wrap(rt http.RoundTripper) *wrapper {
	return &wrapper{rt, func() http.RoundTripper { return rt }}
}

func TestLayersEnd(t *testing.T) {
	inner := &http.Transport{}
	middle := wrap(inner)
	outer := wrap(middle)
	assert.Equal(t, []http.RoundTripper{outer, middle, inner}, slices.Collect(Layers(outer)))

	circle := wrap(nil)
	circle.wrapped = func() http.RoundTripper { return circle }
	assert.Len(t, slices.Collect(Layers(circle)), maxLayers)

	var none *http.Transport
	assert.Empty(t, slices.Collect(Layers(nil)))
	assert.Empty(t, slices.Collect(Layers(none)))
	assert.Len(t, slices.Collect(Layers(wrap(none))), 1)

	assert.Len(t, slices.Collect(Layers(&wrapper{wrapped: func() http.RoundTripper { panic("oops") }})), 1)
}

func TestWhatSharesALayer(t *testing.T) {
	inner, other := &http.Transport{}, &http.Transport{}
	assert.True(t, Shares(inner, inner))
	assert.True(t, Shares(wrap(inner), inner), "it wraps it")
	assert.True(t, Shares(inner, wrap(inner)), "it is wrapped by it")
	assert.True(t, Shares(wrap(wrap(inner)), wrap(inner)), "both wrap the same")
	assert.False(t, Shares(wrap(other), wrap(inner)))
	assert.False(t, Shares(wrap(other), nil))
}

func TestAWrapperOfTheDefaultTransportIsRefused(t *testing.T) {
	b := Builder{InService: func(http.RoundTripper) bool { return false }}
	assert.Equal(t, errShared, b.inspect(wrap(http.DefaultTransport)))
	assert.NoError(t, b.inspect(wrap(&http.Transport{})))
}
