//go:build unix && !linux

package process

import "syscall"

// attributes put the child in its own process group: a Ctrl-C in the terminal reaches the parent alone, which then ends its children in order.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
