package directory

// Kept is how many answers are kept about roles.
func Kept(d *Directory) int { return d.roles.len() }
