package gateway

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// grafana is what every Grafana imports.
//
//lint:ignore SA1019 its successor is for the latest alone.
type grafana = dashboard.Dashboard

// Grafana's own model reads the dashboard strictly: a field that it does not
// know, one that is missing, or one of another type is an error, in the panels'
// options and in the queries, too. Examples/gateway plays the queries.
func TestDashboardIsGrafanas(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	text, err := os.ReadFile(filepath.Join(gatewayDir, "dashboard.json"))
	require.NoError(t, err)
	var d grafana
	require.Empty(t, complaints(d.UnmarshalJSONStrict(text)))
	require.Empty(t, complaints(d.Validate()))

	for good, bad := range map[string]string{
		`"gridPos"`:         `"gridPosition"`,
		`"legendFormat"`:    `"legend"`,
		`"schemaVersion": `: `"schemaVersion": "x", "y": `,
		`"graphMode"`:       `"graph"`,
	} {
		broken := strings.Replace(string(text), good, bad, 1)
		require.NotEqual(t, string(text), broken, good)
		var d grafana
		assert.NotEmpty(t, complaints(d.UnmarshalJSONStrict([]byte(broken))), bad)
	}

	// Panels have ids of their own, and lie beside each other. Read strictly, the
	// model leaves them out.
	require.NoError(t, json.Unmarshal(text, &d))
	ids := map[uint32]bool{}
	taken := map[[2]uint32]string{}
	for _, one := range d.Panels {
		id, title, at := one.RowPanel, "", dashboard.GridPos{}
		if id != nil {
			title, at = *id.Title, *id.GridPos
			assert.False(t, ids[id.Id], title)
			ids[id.Id] = true
		} else {
			p := one.Panel
			title, at = *p.Title, *p.GridPos
			assert.False(t, ids[*p.Id], title)
			ids[*p.Id] = true
			assert.NotEmpty(t, *p.Description, title)
			assert.NotEmpty(t, p.Targets, title)
		}
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				assert.Empty(t, taken[[2]uint32{x, y}], "beneath %s", title)
				taken[[2]uint32{x, y}] = title
			}
		}
		assert.LessOrEqual(t, at.X+at.W, uint32(24), title)
	}
}

// complaints is what an error of the model's says: one that says nothing is an
// empty list of errors.
func complaints(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
