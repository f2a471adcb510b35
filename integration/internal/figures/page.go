package figures

import (
	"bytes"
	"fmt"
	"os"
)

// Rewrite puts what measure returns between the two comments that mark a part of a
// page. It looks for these comments before it measures, which takes long.
func Rewrite(page, part string, measure func() (string, error)) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	if _, err := replace(text, part, ""); err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	table, err := measure()
	if err != nil {
		return err
	}
	if text, err = replace(text, part, table); err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	return os.WriteFile(page, text, 0o644)
}

// replace puts table between the marks of part.
func replace(text []byte, part, table string) ([]byte, error) {
	begin, end := "<!-- "+part+":begin -->\n", "<!-- "+part+":end -->"
	head, rest, found := bytes.Cut(text, []byte(begin))
	_, tail, closed := bytes.Cut(rest, []byte(end))
	if !found || !closed {
		return nil, fmt.Errorf("the marks of %s are missing", part)
	}
	return bytes.Join([][]byte{head, []byte(begin), []byte(table), []byte(end), tail}, nil), nil
}
