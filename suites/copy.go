package main

import (
	"os"
	"path/filepath"
	"strings"
)

// A testee is a copy of a package, and how go tests it. The original is in Go's cache,
// as are the packages of a toolchain that was downloaded, over which nothing may be laid.
type testee struct {
	dir     string
	command string // go
	args    []string
	env     []string
}

// copyModule copies the module of pkg to tmp, with a go.mod that uses the copy.
func copyModule(pkg, tmp string) (testee, error) {
	where, err := output("go", "list", "-f", "{{.Module.Path}} {{.Module.Dir}} {{.Dir}}", pkg)
	if err != nil {
		return testee{}, err
	}
	fields := strings.Fields(where)
	path, root, dir := fields[0], fields[1], fields[2]
	module := filepath.Join(tmp, "module")
	if err := copyTree(root, module); err != nil {
		return testee{}, err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(name)
		if err != nil {
			return testee{}, err
		}
		if err := os.WriteFile(filepath.Join(tmp, name), text, 0o600); err != nil {
			return testee{}, err
		}
	}
	here, err := filepath.Abs("..")
	if err != nil {
		return testee{}, err
	}
	modfile := filepath.Join(tmp, "go.mod")
	_, err = output("go", "mod", "edit", "-replace", path+"="+module, "-replace", "github.com/respawnhttp/respawn="+here, modfile)
	return testee{
		dir:     filepath.Join(module, strings.TrimPrefix(dir, root)),
		command: "go", args: []string{"-modfile", modfile},
	}, err
}

// copyStandard makes a GOROOT in tmp that is the real one by links, but for a copy of
// the standard library's pkg.
func copyStandard(pkg, tmp string) (testee, error) {
	real, err := output("go", "env", "GOROOT")
	if err != nil {
		return testee{}, err
	}
	root := filepath.Join(tmp, "goroot")
	within := filepath.Join("src", filepath.FromSlash(pkg))
	for dir, rest := "", within; rest != ""; {
		var next string
		next, rest, _ = strings.Cut(rest, string(filepath.Separator))
		if err := linkAll(filepath.Join(real, dir), filepath.Join(root, dir), next); err != nil {
			return testee{}, err
		}
		dir = filepath.Join(dir, next)
	}
	copied := filepath.Join(root, within)
	return testee{
		dir:     copied,
		command: filepath.Join(root, "bin", "go"),
		env:     []string{"GOROOT=" + root, "GOTOOLCHAIN=local"},
	}, copyTree(filepath.Join(real, within), copied)
}

// linkAll links to all that is in a folder but one.
func linkAll(from, to, but string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == but {
			continue
		}
		if err := os.Symlink(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// copyTree copies a folder that may be read-only.
func copyTree(from, to string) error {
	_, err := output("cp", "-r", "--no-preserve=mode", from, to)
	return err
}
