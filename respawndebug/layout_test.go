package respawndebug

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// On a phone the tables of a long night take many screens, and what is copied for the
// ticket is wanted first.
func TestTheTicketComesBeforeTheTables(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "llm")
		for _, body := range badNight(t, r) {
			defer body.Close()
		}
		var order []string
		for d := range look(t, r.rt).Descendants() {
			switch n := (node{d}); {
			case n.Data == "dl" && n.has("facts"), n.Data == "pre" && n.has("ticket"), n.Data == "figure", n.Data == "table":
				order = append(order, n.Data)
			}
		}
		require.GreaterOrEqual(t, len(order), 4)
		assert.Equal(t, []string{"dl", "pre", "figure", "table"}, order[:4])
	})
}

// The picture's key names a drain where there is one.
func TestADrainIsInTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := func(r *rig) string { return look(t, r.rt).all("figcaption", "")[0].text() }
		r := newRig(t, "llm")
		r.trip(api)
		r.recover(api)
		assert.NotContains(t, key(r), "drain")
		body := r.open("https://streams.test/stream")
		r.trip(api)
		r.down.Store(false)
		time.Sleep(time.Minute)
		require.NoError(t, r.rt.Recreate(t.Context()))
		assert.Contains(t, key(r), "drain: requests finish on the old transport")
		require.NoError(t, body.Close())
	})
}
