package directory

// Kept is how many answers are kept.
func Kept(d *Directory) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.young) + len(d.old)
}
