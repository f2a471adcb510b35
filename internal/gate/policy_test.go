package gate

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/respawnhttp/respawn/internal/config"
	"github.com/respawnhttp/respawn/internal/core"
)

// The longest duration that there is may be drawn longer still: that is as long, and not a
// time before now.
func TestTheLongestDurationDoesNotOverflow(t *testing.T) {
	for _, draw := range []float64{0.5, 0.75, 1} {
		g := &Gate{cfg: &config.Config{
			Patience: math.MaxInt64, MaxAge: math.MaxInt64, Stalls: 1,
			Chance: func() float64 { return draw },
		}}
		assert.EqualValues(t, math.MaxInt64, g.drawAge())
		assert.Equal(t, core.MostPatience, g.drawPatience())
	}
}
