export PYTHONPATH=$PWD:$PWD/src:/tmp/site PYTHONUNBUFFERED=1
cd $(dirname $0)
say() { echo "=== $1 $(date +%T)"; }
say laws
(timeout 170 python3 -m pytest -n 10 -m "not cuda and not slow and not browser" --timeout 60 -p no:cacheprovider -x --maxfail 60 tests > $OUT/fast.log 2>&1; echo rc $? >> $OUT/fast.log) &
timeout 170 python3 -m pytest -n 6 -m cuda --timeout 150 -p no:cacheprovider tests/cuda tests/train tests/engine --durations 8 2>&1 | tail -60
wait
say fast; tail -40 $OUT/fast.log
say attention; timeout 60 python3 att.py
say profile; TORCH_LOGS=output_code timeout 100 python3 profile_step.py 2> $OUT/code.log
say micro; timeout 60 python3 micro.py
say kernels; timeout 100 python3 kernels.py
say whole; timeout 110 python3 profile_step.py --whole --rows 30 2>&1 | grep -v Warn
say end
