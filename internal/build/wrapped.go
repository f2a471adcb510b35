package build

import (
	"io"
	"iter"
	"net/http"
)

// maxLayers bounds how deep a RoundTripper is looked into: wrappers can wrap each
// other in a circle.
const maxLayers = 16

// Layers yields rt and the RoundTrippers that it wraps, the outermost first, as long as
// each says what it wraps, as Kubernetes' do (WrappedRoundTripper). If that method
// panics, Layers stops there.
func Layers(rt http.RoundTripper) iter.Seq[http.RoundTripper] {
	return func(yield func(http.RoundTripper) bool) {
		for range maxLayers {
			if IsNil(rt) || !yield(rt) {
				return
			}
			rt = beneath(rt)
		}
	}
}

// beneath returns the RoundTripper that rt wraps; nil if it does not say.
func beneath(rt http.RoundTripper) (inner http.RoundTripper) {
	defer func() {
		if recover() != nil {
			inner = nil
		}
	}()
	if w, ok := rt.(interface{ WrappedRoundTripper() http.RoundTripper }); ok {
		return w.WrappedRoundTripper()
	}
	return nil
}

// Shares reports whether closing one would close the other, or a part of it: they
// have a layer in common.
func Shares(a, b http.RoundTripper) bool {
	for outer := range Layers(a) {
		for inner := range Layers(b) {
			if SameInstance(outer, inner) {
				return true
			}
		}
	}
	return false
}

// CloseIdle closes rt's idle connections: by the outermost layer that can. The pool
// of http.DefaultTransport belongs to the whole process, and is left alone behind
// any wrapper.
func CloseIdle(rt http.RoundTripper) {
	if Shares(rt, http.DefaultTransport) {
		return
	}
	if c, _ := Outermost[interface{ CloseIdleConnections() }](rt); c != nil {
		c.CloseIdleConnections()
	}
}

// Closer returns what closes rt, the outermost layer that can; nil if none can. all
// says that idle connections need no closing after that. http.DefaultTransport is
// nobody's to close.
func Closer(rt http.RoundTripper) (c io.Closer, all bool) {
	c, depth := Outermost[io.Closer](rt)
	if l, ok := c.(http.RoundTripper); !ok || SameInstance(l, http.DefaultTransport) {
		return nil, false
	}
	idle, idleDepth := Outermost[interface{ CloseIdleConnections() }](rt)
	return c, idle == nil || idleDepth <= depth
}

// Outermost returns the outermost layer of rt that is a T, and its depth. If none is, it
// returns the zero T.
func Outermost[T any](rt http.RoundTripper) (layer T, depth int) {
	for l := range Layers(rt) {
		if t, ok := l.(T); ok {
			return t, depth
		}
		depth++
	}
	return layer, depth
}
