package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A first build may take long, and nobody knows yet what the policy's interval is. The
// fallback serves meanwhile, and one request a second asks the transport in service.
func TestAFallbackServesWhileTheFirstCandidateIsBuilt(t *testing.T) {
	s := newScene(t)
	s.rules.Fallback = true
	s.tripped("a.test", Wait)
	sent := 0
	for range 50 {
		if s.Next(s.now, s.call(Copyable, "GET")).Do == Send {
			sent++
		}
		s.now = s.now.Add(100 * time.Millisecond)
	}
	assert.Equal(t, 5, sent)
}
