package body

import (
	"io"
	"net/http"
	"os"
	"syscall"
	"time"
)

// net/http sends a file straight from its disk (sendfile), and closes it unread when a dial fails. It is
// shielded as any other body is, so that it is kept for the next attempt. A connection can send it from
// its disk all the same: it asks the body for no more than a descriptor (net/sendfile.go).

// A fileBody is a shielded file as one attempt sees it.
type fileBody struct {
	*sendBody
	file *os.File
}

// SyscallConn implements [syscall.Conn]. Nobody sees what is read through it.
func (b *fileBody) SyscallConn() (syscall.RawConn, error) {
	at, _ := b.file.Seek(0, io.SeekCurrent) // where it fails, the first look takes the file for moved
	if !b.take(at) {
		return nil, errDetached
	}
	return b.file.SyscallConn()
}

// take notes that the attempt of b may read the file unseen from now on, from the position at. It fails
// where b may not be read any more.
func (b *sendBody) take(at int64) bool {
	b.shot.mu.Lock()
	defer b.shot.mu.Unlock()
	mine := b.mineLocked()
	if mine {
		b.shot.taken, b.shot.at = true, at
	}
	return mine
}

// look notes whether a connection that has the descriptor has read on. Not every system moves the file's
// position before all is sent.
func (b *fileBody) look() {
	at, err := b.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return
	}
	o := b.shot
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.taken && at != o.at {
		o.at, o.last = at, time.Now()
	}
}

// asSent is what an attempt gets of b, which shields the body of a request of that length: a file can
// still be sent straight from its disk.
func (b *sendBody) asSent(length int64) io.ReadCloser {
	if f, ok := b.shot.body.(*os.File); ok && isOnDisk(f, length) {
		return &fileBody{b, f}
	}
	return b
}

// File returns the file that is the body of an attempt and may be sent straight from its disk; nil:
// there is none.
func File(sent *http.Request) *os.File {
	if b, ok := sent.Body.(*fileBody); ok {
		return b.file
	}
	f, ok := unwrapped(sent.Body).(*os.File)
	if !ok || !isRegular(f) {
		return nil
	}
	return f
}

// isOnDisk reports whether f can be sent without anybody looking on: a read of it does not wait, and
// it is as long as its request says.
func isOnDisk(f *os.File, length int64) bool { return isRegular(f) && fits(f, length) }

// isRegular reports whether f is a file on a disk, which a read does not wait for. A pipe, a
// terminal or a socket may keep everybody waiting, and a directory cannot be read.
func isRegular(f *os.File) bool {
	info, err := f.Stat()
	return err != nil || info.Mode().IsRegular()
}

// fits reports whether what is left of f is as long as its request says, or the request does not say.
// Where it is not, net/http gives up and closes the connection, and its error may tell of the closed
// connection alone.
func fits(f *os.File, length int64) bool {
	if length <= 0 {
		return true
	}
	info, err := f.Stat()
	if err != nil {
		return true // its Read will say so
	}
	at, err := f.Seek(0, io.SeekCurrent)
	return err != nil || info.Size()-at == length
}
