"""Starting a command: what Hydra refuses of its arguments is said in one line, with the spelling that works."""

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
from src.run_names import run_id

# What an output folder is called: of values, the first that is not null; and what tells runs of a second apart.
OmegaConf.register_new_resolver("first", lambda *values: next(each for each in values if each), replace=True)
OURS = "DENSESIAM_SAYS_ERRORS"
RUN_ID = run_id()
OmegaConf.register_new_resolver("run_id", lambda: RUN_ID, replace=True)
HERE = Path(__file__).resolve().parent
CONF = HERE / "conf" if (HERE / "conf").is_dir() else HERE.parent / "conf"  # a wheel has it inside the package


def run(main: Callable[[], Any], config_name: str) -> None:
    """Run a command with the arguments of this process; a mistake in them ends it with one line and code 1.

    With HYDRA_FULL_ERROR=1 in the environment every traceback is shown.

    Args:
        main: decorated with `hydra.main`.
        config_name: of the command's config.
    """
    # Hydra refuses `experiment=null` on the command line, although null is what the defaults say.
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument not in ("experiment=null", "debug=null")]
    if os.environ.get("HYDRA_FULL_ERROR") == "1" and OURS not in os.environ:
        main()
        return
    # Hydra would print its own words and exit. Processes that this one starts must not take it for the user's wish.
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
    except OSError as error:
        below = error.__traceback__ and error.__traceback__.tb_next
        if passed_our_code(below):
            raise
        sys.exit(str(DenseSiamError(f"can't make the folder of the run ({error}): choose another hydra.run.dir")))


def refuse_empty(arguments: Sequence[str]) -> None:
    """Refuse `key=` without a value: so a shell passes on a variable that is not set.

    Raises:
        DenseSiamError: naming the key.
    """
    for argument in arguments:
        key, sign, value = argument.partition("=")
        if sign and not value.strip():
            raise DenseSiamError(
                f"{key}= is empty, as a shell variable that is not set leaves it: give a value, or {key}=null for none"
            )


def refuse_no_choice(arguments: Sequence[str]) -> None:
    """Refuse null, a number or a flag where a group of `conf/` wants the name of one of its files.

    Raises:
        DenseSiamError: naming the choices.
    """
    for argument in arguments:
        key, _, value = argument.partition("=")
        if (CONF / key).is_dir() and not isinstance(parsed_value(argument), str | list):
            choices = sorted(path.stem for path in (CONF / key).glob("*.yaml"))
            raise DenseSiamError(f"{key} is {value}: choose one of {', '.join(choices)}")


def parsed_value(argument: str) -> Any:
    """What Hydra reads after the `=`; a text for what it can't read, or sweeps over."""
    try:
        given = OverridesParser.create().parse_override(argument)
    except HydraException:
        return ""
    return "" if given.is_sweep_override() else given.value()


def explained(error: Exception, arguments: Sequence[str], config_name: str) -> str:
    """One line for what Hydra or OmegaConf has refused.

    Args:
        error: theirs.
        arguments: `key=value`, of the command.
        config_name: of the command's config.
    """
    if isinstance(error, OverrideParseException):
        return unreadable(error.override)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, option = error.missing_cfg_file.rpartition("/")
        choices = f"choose one of {', '.join(sorted(error.options))}"
        return f"there is no {group}={option}:{meant(option, error.options, f'{group}=')} {choices}"
    said = str(error).splitlines()
    if isinstance(error, ConfigCompositionException) and said[0].find("Could not override '") >= 0:
        return unknown(said[0].split("'")[-2], arguments, config_name)
    return " ".join(" ".join(said).split())


def unreadable(argument: str) -> str:
    """What to say of an argument that Hydra's grammar has no meaning for, with a spelling that has one."""
    key, sign, value = argument.partition("=")
    if not sign:
        return f"{argument!r} is no argument: expected key=value, such as data.root=DIR"
    path = str(Path(value).expanduser()) if value.startswith("~") else value
    return f"{argument} has characters that need quotes: write {override(key, path)}"


def unknown(key: str, arguments: Sequence[str], config_name: str) -> str:
    """What to say of a key that the config has not: the nearest that it has.

    Args:
        key: as it was given.
        arguments: all of the command's.
        config_name: of the command's config.
    """
    config = composed_without(key, arguments, config_name)
    if config is not None and isinstance(present := OmegaConf.select(config, key), DictConfig):
        known = ", ".join(f"{key}.{name}" for name in map(str, present) if name != "_target_")
        return (
            f"{key} has the entries {known}, each to be set by itself; to replace all of it, take it out and add "
            f"another: ~{key} '+{key}={{...}}'"
        )
    if config is None:
        return f"there is no value {key}: python -m src.{config_name} --help lists them all"
    groups = {name: choice for name, choice in config.hydra.runtime.choices.items() if not name.startswith("hydra/")}
    group = key.partition(".")[0]
    if groups.get(group, "") in (None, "none") and group != key:
        return f"{group}={groups[group]} has no values, and so no {key}: choose another {group}=NAME beside it"
    values = flat(cast(dict[str, Any], OmegaConf.to_container(config)))
    names = [name for name in values if not name.startswith("hydra.")]
    place, _, last = key.rpartition(".")
    beside = {name.removeprefix(f"{place}.").partition(".")[0] for name in names if name.startswith(f"{place}.")}
    tried = [meant(last, sorted(beside), f"{place}."), meant(key, [*groups, *names], "")]
    tried += [] if place else [meant(last, {name.rpartition(".")[2]: name for name in names}, "")]
    tried += [f" {place} has {', '.join(sorted(beside - {'_target_'}))}"] if beside else []
    return f"there is no value {key}:{next(filter(None, tried), f' python -m src.{config_name} --help lists them all')}"


def meant(given: str, known: Collection[str] | Mapping[str, str], before: str) -> str:
    """A question whether the nearest known name was meant; nothing where none is near.

    Args:
        given: what was typed.
        known: names, or names and what is to be written for each.
        before: what stands before the name.
    """
    near = get_close_matches(given, known, n=1, cutoff=0.7)
    if not near:
        return ""
    return f" did you mean {before}{known[near[0]] if isinstance(known, Mapping) else near[0]}?"


def composed_without(key: str, arguments: Sequence[str], config_name: str) -> DictConfig | None:
    """The config of all arguments but those that set a key, of each list to be swept its first value; None if none."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(arguments))
        kept = [single(each) for each in parsed if each.key_or_group != key]
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose(config_name, kept, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException):
        return None


def single(given: Override) -> str:
    """An argument as it was given, or of a sweep with its first value alone."""
    if not given.is_sweep_override():
        return str(given.input_line)
    return f"{given.get_key_element()}={next(iter(given.sweep_string_iterator()))}"
