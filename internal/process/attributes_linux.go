package process

import "syscall"

// attributes put the child in its own process group (a Ctrl-C in the terminal reaches the parent alone, which then ends its children in order)
// and tie its life to the parent's: PR_SET_PDEATHSIG of prctl(2).
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
