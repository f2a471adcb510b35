package respawntest

import (
	"github.com/respawnhttp/respawn/internal/build"
)

// part retires the first transport, as when the second has been promoted, and reports
// whether that went well.
func (i *inspection) part(first, second *product) bool {
	return i.stillWell(first, "since the factory was called again: the factory must not touch the transport in service, which respawn retires later") &&
		i.retire(first) &&
		i.stillWell(second, "since another of the factory's transports was closed: Close must close only what belongs to its own transport")
}

// stillWell reports whether base and the transport in service answer.
func (i *inspection) stillWell(inService *product, what string) bool {
	if i.base != nil {
		if _, err := ask("", i.base, i.urls); err != nil {
			i.found("base has not answered (%w) %s", err, what)
			return false
		}
	}
	if _, err := inService.ask(i.urls); err != nil {
		i.found("the factory's transport in service has not answered (%w) %s", err, what)
		return false
	}
	return true
}

// retire parts with a transport, and reports whether that went well.
func (i *inspection) retire(p *product) bool {
	returned := p.retire()
	switch method := p.broken(); {
	case method != "":
		i.found("%s of the factory's transport panicked, or ended its goroutine: it is called once, when the transport has retired, and has to return", method)
		return false
	case !returned:
		i.found("Close or CloseIdleConnections of the factory's transport had not returned after %v: return at once, and let what takes long end in the background", grace)
		return false
	}
	return true
}

// leavesNothing retires the second transport and checks that nothing of it is left. It
// takes the second because the first may have started goroutines that a process starts
// only once.
func (i *inspection) leavesNothing(second *product) {
	if !i.retire(second) {
		return
	}
	left := remaining(second.label)
	if len(left) == 0 {
		return
	}
	for _, stack := range left {
		if isConnection(stack) {
			i.found("the factory's transport has retired, and its connections are still open: %s", i.unclosed(second))
			return
		}
	}
	i.found("the factory's transport has retired, and a goroutine is left behind, started by %s: give the transport a Close that ends it", entry(left[0]))
}

// unclosed says why a transport may have kept its connections.
func (i *inspection) unclosed(p *product) string {
	idle, closes := false, false
	for l := range build.Layers(p.transport) {
		_, idles := l.(interface{ CloseIdleConnections() })
		_, ends := l.(interface{ Close() error })
		idle, closes = idle || idles, closes || ends
	}
	switch {
	case idle:
		return "its CloseIdleConnections does not reach them all; call that of each transport inside"
	case closes:
		return "its Close does not close them all, and it has no CloseIdleConnections; call that of the transport inside"
	}
	return "it has no CloseIdleConnections, nor has anything that it wraps as far as can be seen; give the wrapper that method, or WrappedRoundTripper() http.RoundTripper"
}
