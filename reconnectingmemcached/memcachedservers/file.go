package memcachedservers

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
)

// File names the servers that a file lists, one on each line, in their order. Blank lines, and what
// follows a #, are left out. Replace the file as a whole, by renaming another: a file that is read
// half-written may be taken for the list if it stays so for a second.
type File struct {
	// Path is that of the file.
	Path string
}

// maxFile bounds a file, in bytes.
const maxFile = 1 << 20

// List reads the file. It is safe for concurrent use.
func (f *File) List(context.Context) ([]string, error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, fmt.Errorf("memcachedservers: %w", err)
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("memcachedservers: %w", err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("memcachedservers: %s has more than %d bytes: it cannot be a list of servers", f.Path, maxFile)
	}
	var servers []string
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			servers = append(servers, line)
		}
	}
	if len(servers) == 0 {
		return nil, fmt.Errorf("memcachedservers: %s names no server", f.Path)
	}
	return servers, nil
}
