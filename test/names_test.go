package test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/names"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// Clients of one name cannot be told apart in what an operator sees, and who named them
// so may not know it. A program that does so on purpose is told once.
func TestANameThatIsTakenTwiceIsLoggedOnce(t *testing.T) {
	p, same := testkit.NewProbe(t), namesIn(new(names.Registry))
	open := func(name string) *respawn.RecoveringRoundTripper {
		return start(t, &testkit.Stub{}, append(observed(p), same, respawn.WithFactory(fresh), respawn.WithName(name))...)
	}
	said := func() int { return len(p.Logged("another client has the same name")) }
	first := open("taken twice")
	open("taken once")
	require.Zero(t, said())
	open("taken twice")
	require.Equal(t, 1, said())
	r := p.Logged("another client has the same name")[0]
	assert.Equal(t, "WARN", r.Level.String())
	assert.Equal(t, "taken twice", r.Attrs["respawn.name"])
	require.NoError(t, first.Close())
	open("taken twice")
	assert.Equal(t, 1, said())
}

// Whoever replaces a client and closes the old one first has one client of that name.
func TestANameIsFreeOnceItsClientIsClosed(t *testing.T) {
	p := testkit.NewProbe(t)
	opts := append(observed(p), namesIn(new(names.Registry)), respawn.WithFactory(fresh), respawn.WithName("one after the other"))
	for range 3 {
		rt := start(t, &testkit.Stub{}, opts...)
		require.NoError(t, rt.Close())
		require.NoError(t, rt.Close())
	}
	_, err := respawn.New(&testkit.Stub{}, append(opts, respawn.WithThreshold(0))...)
	require.Error(t, err)
	start(t, &testkit.Stub{}, opts...)
	assert.Empty(t, p.Logged("another client has the same name"))
}
