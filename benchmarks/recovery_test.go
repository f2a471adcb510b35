package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// The budget of recovery, on the very rows that the page shows.
func TestRecoveryBudgets(t *testing.T) {
	peer := peerNamed(newPeers(testObserver(t)), nameRespawn)
	atStart := goleak.IgnoreCurrent()

	r, err := sessionDies(peer, silent, 10, 0)
	require.NoError(t, err)
	assert.Equal(t, 10, r.answered, "the first request succeeds, and all after it")
	assert.EqualValues(t, deadDials, r.deadDials)
	assert.EqualValues(t, 2, r.built)

	for name, as := range map[string]func(*session) http.RoundTripper{"silent": silent, "told": told} {
		r, err := sessionDies(peer, as, 0, 200)
		require.NoError(t, err)
		assert.Equal(t, 200, r.answered, name)
		assert.Equal(t, 1, r.recreated, name)
		assert.EqualValues(t, 2, r.built, name)
		assert.Zero(t, r.left, name)
	}
	assert.Eventually(t, func() bool { return goleak.Find(atStart) == nil }, 20*time.Second, 10*time.Millisecond)
}

// What the table says of the others is no accident of timing.
func TestNobodyElseRecovers(t *testing.T) {
	t.Parallel()
	for _, p := range withPort(newPeers(testObserver(t))) {
		if p.name == nameRespawn {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			r, err := sessionDies(p, silent, 3, 0)
			require.NoError(t, err)
			assert.False(t, r.recovered())
			assert.EqualValues(t, 1, r.built)
			assert.Positive(t, r.deadDials)
		})
	}
}

// The literal port does recover where it is told, once for each goroutine.
func TestLiteralPortBuildsManyAndLeaks(t *testing.T) {
	t.Parallel()
	r, err := sessionDies(peerNamed(withPort(nil), namePort), told, 0, 100)
	require.NoError(t, err)
	assert.Equal(t, 100, r.answered)
	assert.Greater(t, r.built, int64(2))
	assert.Positive(t, r.left)
}

// A dead connection is dead: nothing is lost on it that is not lost for good,
// and connections made later are well.
func TestWireGoesDark(t *testing.T) {
	t.Parallel()
	peers := newPeers(testObserver(t))
	load := blackHoleLoad{50 * time.Millisecond, 500 * time.Millisecond}
	r, err := connectionGoesDark(peerNamed(peers, nameBare), 700*time.Millisecond, load)
	require.NoError(t, err)
	assert.False(t, r.recovered())
	assert.Zero(t, r.dials)

	r, err = connectionGoesDark(peerNamed(peers, nameRespawn), 3500*time.Millisecond, load)
	require.NoError(t, err)
	assert.True(t, r.recovered())
	assert.Equal(t, 1, r.recreated)
	assert.Zero(t, r.left)
}
