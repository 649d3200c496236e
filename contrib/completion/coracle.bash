# bash-completion loads this when "coracle" is completed for the first time; the program knows the rest.
source <(coracle completion bash)
