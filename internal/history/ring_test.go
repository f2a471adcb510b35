package history

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/respawnhttp/respawn/internal/generation"
)

func TestRingKeepsTheLast(t *testing.T) {
	var h Ring[int]
	for i := range 3 * limit {
		h.Add(uint64(i), i, nil, time.Time{})
		all := h.All()
		assert.Len(t, all, min(i+1, limit))
		assert.Equal(t, max(0, i+1-limit), all[0])
		assert.Equal(t, i, all[len(all)-1])
	}
	assert.Len(t, h.entries, limit)
}

func TestRingKeepsNoTransportThatHasDrained(t *testing.T) {
	var h Ring[int]
	g, other := generation.New(nil, 0), generation.New(nil, 0)
	since := time.Unix(1, 0)
	h.Add(1, 1, g, since)
	h.Add(2, 2, other, time.Time{})
	h.Drained(g, func(record *int, at time.Time) {
		assert.Equal(t, since, at)
		*record = 3
	})
	assert.Equal(t, []int{3, 2}, h.All())
	assert.Nil(t, h.entries[0].retired)
	assert.Same(t, other, h.entries[1].retired)
	h.Drained(g, func(*int, time.Time) { t.Error("it has drained already") })
}

func TestRingChangesWhatItRemembers(t *testing.T) {
	var h Ring[string]
	h.Add(7, "seven", nil, time.Time{})
	h.Add(8, "eight", nil, time.Time{})
	h.Change(8, func(record *string) { *record = "eight, changed" })
	h.Change(9, func(*string) { t.Error("it was never added") })
	assert.Equal(t, []string{"seven", "eight, changed"}, h.All())
}
