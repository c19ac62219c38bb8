"""Start of a command. If Hydra refuses its arguments, one line explains why and shows arguments that work."""

import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.errors import DenseSiamError, passed_our_code
from src.overrides import flat, override
from src.run_labels import label
from src.run_names import job_name, run_id
from src.threads import set_threads

# For the names of output folders: `first` gives the first value that is not null, `run_id` is different for every run.
OmegaConf.register_new_resolver("first", lambda *values: next(each for each in values if each), replace=True)
OURS = "DENSESIAM_SAYS_ERRORS"
RUN_ID = run_id()
# Cached, because a job that is started in a process of its own has the id, and so the folder, of its sweep.
OmegaConf.register_new_resolver("run_id", lambda: RUN_ID, replace=True, use_cache=True)
OmegaConf.register_new_resolver("job_name", job_name, replace=True)
OmegaConf.register_new_resolver("label", label, replace=True)
# Sweepers and launchers of Hydra, and the extra that installs each.
PLUGINS = {"optuna": "sweep", "joblib": "sweep", "submitit_slurm": "slurm", "submitit_local": "slurm"}
NO_TRIALS = "No trials are completed yet."  # what Optuna says at the end of a search without a result
HERE = Path(__file__).resolve().parent
CONF = HERE / "conf" if (HERE / "conf").is_dir() else HERE.parent / "conf"  # a wheel has it inside the package


def run(main: Callable[[], Any], config_name: str) -> None:
    """Run a command with the arguments of this process. A mistake of the user ends it with one line and code 1.

    With HYDRA_FULL_ERROR=1 in the environment, tracebacks are shown. The threads of torch are set, see `set_threads`.

    Args:
        main: the function of the command, decorated with `hydra.main`.
        config_name: name of the command's config.
    """
    set_threads(os.environ)  # before torch is imported, which `main` does
    # Hydra refuses `experiment=null` on the command line, although null is what the defaults say.
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument not in ("experiment=null", "debug=null")]
    if os.environ.get("HYDRA_FULL_ERROR") == "1" and OURS not in os.environ:
        main()
        return
    # With this variable, Hydra raises its errors instead of printing them. OURS tells processes that this one starts
    # that the variable was not set by the user.
    os.environ["HYDRA_FULL_ERROR"] = os.environ[OURS] = "1"
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    try:
        refuse_empty(arguments)
        refuse_no_choice(arguments)
        main()
    except DenseSiamError as error:
        sys.exit(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(str(DenseSiamError(explained(error, arguments, config_name))))
    except ValueError as error:
        if str(error) != NO_TRIALS:
            raise
        sys.exit(str(DenseSiamError("every trial of the search has failed: correct what each has said above")))
    except OSError as error:
        below = error.__traceback__ and error.__traceback__.tb_next
        if passed_our_code(below):
            raise
        sys.exit(str(DenseSiamError(f"can't make the folder of the run ({error}): choose another hydra.run.dir")))


def refuse_empty(arguments: Sequence[str]) -> None:
    """Refuse `key=` without a value, which is what `key=$VARIABLE` gives if the variable is not set.

    Raises:
        DenseSiamError: a value is empty; the message names the key.
    """
    for argument in arguments:
        key, sign, value = argument.partition("=")
        if sign and not value.strip():
            raise DenseSiamError(
                f"{key}= is empty, as a shell variable that is not set leaves it: give a value, or {key}=null for none"
            )


def refuse_no_choice(arguments: Sequence[str]) -> None:
    """Refuse null, a number or a flag for a group of `conf/`: its value is the name of one of its files, or a list.

    Raises:
        DenseSiamError: the value, or an element of a list, is not text; the message names the choices.
    """
    for argument in arguments:
        key, _, value = argument.partition("=")
        read = parsed_value(argument)
        named = all(isinstance(each, str) for each in (read if isinstance(read, list) else [read]))
        if (CONF / key).is_dir() and not named:
            choices = sorted(path.stem for path in (CONF / key).glob("*.yaml"))
            raise DenseSiamError(f"{key} is {value}: choose one of {', '.join(choices)}")


def parsed_value(argument: str) -> Any:
    """The value that Hydra reads after the `=`; "" if it can't read the value, or the argument is a sweep."""
    try:
        given = OverridesParser.create().parse_override(argument)
    except HydraException:
        return ""
    return "" if given.is_sweep_override() else given.value()


def explained(error: Exception, arguments: Sequence[str], config_name: str) -> str:
    """One line about an error of Hydra or OmegaConf.

    Args:
        error: the error.
        arguments: the arguments of the command, `key=value`.
        config_name: name of the command's config.
    """
    if isinstance(error, OverrideParseException):
        return unreadable(error.override)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, option = error.missing_cfg_file.rpartition("/")
        if option in PLUGINS:
            return f"{group}={option} needs a plugin: pip install 'densesiam[{PLUGINS[option]}]'"
        choices = f"choose one of {', '.join(sorted(error.options))}"
        return f"there is no {group}={option}:{meant(option, error.options, f'{group}=')} {choices}"
    said = str(error).splitlines()
    if isinstance(error, ConfigCompositionException) and said[0].find("Could not override '") >= 0:
        return unknown(said[0].split("'")[-2], arguments, config_name)
    return " ".join(" ".join(said).split())


def unreadable(argument: str) -> str:
    """The message about an argument that Hydra can't parse, with a spelling that it can parse."""
    key, sign, value = argument.partition("=")
    if not sign:
        return f"{argument!r} is not an argument: expected key=value, such as data.root=DIR"
    path = str(Path(value).expanduser()) if value.startswith("~") else value
    return f"{argument} has characters that need quotes: write {override(key, path)}"


def unknown(key: str, arguments: Sequence[str], config_name: str) -> str:
    """The message about a key that the config does not have, with the most similar key that it has.

    Args:
        key: the key that was given.
        arguments: all arguments of the command.
        config_name: name of the command's config.
    """
    config = composed_without(key, arguments, config_name)
    if config is not None and isinstance(present := OmegaConf.select(config, key), DictConfig):
        known = ", ".join(f"{key}.{name}" for name in map(str, present) if name != "_target_")
        return (
            f"{key} has the entries {known}: set each of them separately, or replace all of {key} with "
            f"~{key} '+{key}={{...}}'"
        )
    if config is None:
        return f"there is no value {key}: python -m src.{config_name} --help lists them all"
    groups = {name: choice for name, choice in config.hydra.runtime.choices.items() if not name.startswith("hydra/")}
    group = key.partition(".")[0]
    if groups.get(group, "") in (None, "none") and group != key:
        return f"{group}={groups[group]} has no values, and so no {key}: choose another {group}=NAME as well"
    values = flat(cast(dict[str, Any], OmegaConf.to_container(config)))
    names = [name for name in values if not name.startswith("hydra.")]
    place, _, last = key.rpartition(".")
    beside = {name.removeprefix(f"{place}.").partition(".")[0] for name in names if name.startswith(f"{place}.")}
    tried = [meant(last, sorted(beside), f"{place}."), meant(key, [*groups, *names], "")]
    tried += [] if place else [meant(last, {name.rpartition(".")[2]: name for name in names}, "")]
    tried += [f" {place} has {', '.join(sorted(beside - {'_target_'}))}"] if beside else []
    return f"there is no value {key}:{next(filter(None, tried), f' python -m src.{config_name} --help lists them all')}"


def meant(given: str, known: Collection[str] | Mapping[str, str], before: str) -> str:
    """The question whether the most similar known name was meant, or "" if no name is similar.

    Args:
        given: the text that was typed.
        known: the known names, or a mapping of names to what the user should type.
        before: prefix of the name in the question.
    """
    near = get_close_matches(given, known, n=1, cutoff=0.7)
    if not near:
        return ""
    return f" did you mean {before}{known[near[0]] if isinstance(known, Mapping) else near[0]}?"


def composed_without(key: str, arguments: Sequence[str], config_name: str) -> DictConfig | None:
    """The config composed from all arguments except those that set `key`; None if it can't be composed.

    Of a sweep, the first value is used.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(arguments))
        kept = [single(each) for each in parsed if each.key_or_group != key]
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose(config_name, kept, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException):
        return None


def single(given: Override) -> str:
    """An argument as it was given; for a sweep, with the first of its values only."""
    if not given.is_sweep_override():
        return str(given.input_line)
    return f"{given.get_key_element()}={next(iter(given.sweep_string_iterator()))}"
