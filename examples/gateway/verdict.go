package main

import (
	"fmt"
	"strings"
)

// verdict says in a line what the show has shown.
func (in *incident) verdict() string {
	if in.Seconds <= in.FaultAt {
		return "The show ended before the fault."
	}
	if in.HealedAt != nil || in.Fault.passes() {
		return in.verdictOfAnOutage()
	}
	return fmt.Sprintf("%s; %s; %s.", in.fate("plain", in.Plain), in.fate("respawn", in.Respawn), in.losses())
}

// verdictOfAnOutage is that of a fault which no fresh transport helps against.
func (in *incident) verdictOfAnOutage() string {
	return fmt.Sprintf("%s; %s; respawn tried %d fresh transport(s) and swapped %d, since the old one was not to blame.",
		in.fate("plain", in.Plain), in.fate("respawn", in.Respawn), in.Promotions+in.Rejections, in.Promotions)
}

// fate is when a client was back.
func (in *incident) fate(name string, f figures) string {
	switch {
	case f.RecoveredAt != nil && in.HealedAt != nil && *f.RecoveredAt >= *in.HealedAt:
		return fmt.Sprintf("%s was back %.1f s after the upstream", name, *f.RecoveredAt-*in.HealedAt)
	case f.RecoveredAt != nil:
		return fmt.Sprintf("%s was back %.1f s after the fault", name, *f.RecoveredAt-in.FaultAt)
	case f.Failed == 0:
		return name + " never failed"
	}
	return name + " never recovered"
}

// losses are respawn's, and where they were lost.
func (in *incident) losses() string {
	f := in.Respawn
	switch {
	case f.Failed == 0:
		return "it lost nothing"
	case f.RecoveredAt == nil:
		return fmt.Sprintf("%d lost", f.Failed)
	case f.LostLater > 0:
		return fmt.Sprintf("%d lost, %d of them later", f.Failed, f.LostLater)
	}
	return fmt.Sprintf("%d lost, all on the dead %s", f.Failed, in.Fault.victim())
}

// wrap breaks text between words so that with indent columns before it no line
// is longer than width. It indents all lines but the first, whose beginning is
// the caller's. A word that is longer has a line of its own; a width of 0 is
// without end.
func wrap(text string, width, indent int) string {
	var b strings.Builder
	column := indent
	for i, word := range strings.Fields(text) {
		length := len([]rune(word))
		switch {
		case i == 0:
		case width > 0 && column+1+length > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += length
	}
	return b.String()
}
