package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReplace(t *testing.T) {
	got, err := replace([]byte("before\n"+begin+"old\n"+end+"\nafter\n"), "new\n")
	require.NoError(t, err)
	assert.Equal(t, "before\n"+begin+"new\n"+end+"\nafter\n", string(got))

	again, err := replace(got, "new\n")
	require.NoError(t, err)
	assert.Equal(t, string(got), string(again))

	for _, text := range []string{"", begin, end, end + begin} {
		_, err := replace([]byte(text), "new\n")
		assert.Error(t, err, "%q", text)
	}
}
