package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn/integration/internal/figures"
)

func TestTheREADMEHasAFewOfTheRows(t *testing.T) {
	all := []figures.Figures{{Scenario: "another"}}
	for _, scenario := range inREADME {
		all = append(all, figures.Figures{Scenario: scenario})
	}
	table, err := few(all)
	require.NoError(t, err)
	assert.Equal(t, len(inREADME)+2, strings.Count(table, "\n"))
	assert.NotContains(t, table, "another")

	_, err = few(all[:3])
	assert.ErrorContains(t, err, inREADME[2], "a scenario that has another name now")
}
