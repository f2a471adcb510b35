package generation

import (
	"net/http"
	"strconv"
)

// Spoke notes the protocol version of an answer, for whoever tells of the trial that
// it came by. The healthy path notes nothing.
func (g *Generation) Spoke(resp *http.Response) {
	g.protocol.Store(int64(resp.ProtoMajor)<<32 | int64(uint32(resp.ProtoMinor)))
}

// Protocol is the version of the latest answer that was noted, as
// network.protocol.version has it: 1.0, 1.1, 2 or 3; "" if none was.
func (g *Generation) Protocol() string {
	spoken := g.protocol.Load()
	major, minor := spoken>>32, int64(uint32(spoken))
	switch {
	case major == 0:
		return ""
	case major > 1 && minor == 0:
		return strconv.FormatInt(major, 10)
	}
	return strconv.FormatInt(major, 10) + "." + strconv.FormatInt(minor, 10)
}
