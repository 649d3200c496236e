#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Checks that modules include only what the table below lets them include. "x: y z" means that the
# files of src/x and the header include/coracle/x.h may include headers of x, y and z.
top=${srcdir:-.}
awk -v top="$top" '
function module_of(h) { return h == "json" ? "base" : h }
BEGIN {
	rules["base"] = "base"
	rules["loop"] = "base"
	rules["http"] = "base loop"
	rules["network"] = "base loop"
	rules["runtime"] = "base loop"
	rules["image"] = "base loop"
	rules["proxy"] = "base loop"
	rules["dns"] = "base loop"
	rules["probe"] = "base loop http"
	rules["cel"] = "base"
	rules["schema"] = "base cel"
	rules["store"] = "base loop schema"
	rules["identity"] = "base loop schema store"
	rules["registry"] = "base loop cel schema store"
	rules["controllers"] = "base loop schema store registry identity"
	rules["api"] = "base loop http cel schema store registry identity"
	rules["node"] = "base loop schema store registry identity runtime image network proxy dns probe api http"
	rules["cli"] = "base loop http schema"
	rules["daemon"] = "base loop http schema store registry identity controllers node api runtime image network proxy dns probe"
	bad = 0; seen = 0
	cmd = "cd " top " && grep -n \"^#[ ]*include\" -r src include --include=*.[ch]"
	while ((cmd | getline line) > 0) {
		split(line, p, ":"); file = p[1]; text = line
		sub(/^[^:]*:[0-9]*:/, "", text); seen++
		n = split(file, parts, "/")
		if (parts[1] == "src") mod = parts[2]
		else { mod = parts[n]; sub(/\.h$/, "", mod); mod = module_of(mod) }
		if (!(mod in rules)) { print file ": module " mod " is not in the table"; bad = 1; continue }
		if (match(text, /<coracle\/[a-z_]+\.h>/)) {
			h = substr(text, RSTART + 9, RLENGTH - 12); h = module_of(h)
			if (h != mod && index(" " rules[mod] " ", " " h " ") == 0) {
				print file ":" p[2] ": " mod " may not include " h; bad = 1
			}
		} else if (text ~ /event2\// && mod != "loop") {
			print file ":" p[2] ": only loop may include libevent"; bad = 1
		} else if (text ~ /"[^"]*\.\.\//) {
			print file ":" p[2] ": private headers stay in their folder"; bad = 1
		}
	}
	if (!seen) { print "no source found below " top; bad = 1 }
	exit bad
}'
