"""Tasks of before a restart of the daemon are there after it. PHASE is which of the two this is; FILE keeps what the first noted."""

import json
import os

from place import *

si = connect("vc01")
if os.environ["PHASE"] == "before":
    tasks = {}

    def noted(what, task):
        try:
            WaitForTask(task)
        except vmodl.MethodFault:
            pass
        tasks[what] = task._moId
        return task.info

    folder = si.content.rootFolder.childEntity[0].vmFolder
    pool = si.content.rootFolder.childEntity[0].hostFolder.childEntity[0].resourcePool
    made = noted("create", folder.CreateVM_Task(config=config("kept", numCPUs=4), pool=pool)).result
    noted("change", made.ReconfigVM_Task(spec=vim.vm.ConfigSpec(numCPUs=2)))
    noted("on", made.PowerOnVM_Task())
    noted("again", made.PowerOnVM_Task())
    noted("clone", made.CloneVM_Task(folder=folder, name="clone", spec=clone_spec()))
    # The VM is made and then refused its processors, so it goes again.
    assert noted("failed", folder.CreateVM_Task(config=config("bad", numCPUs=5000), pool=pool)).state == "error"
    with open(os.environ["FILE"], "w") as file:
        json.dump(tasks, file)
else:
    with open(os.environ["FILE"]) as file:
        tasks = json.load(file)
    info = {what: vim.Task(name, si._stub).info for what, name in tasks.items() if what != "again"}
    assert {it.state for what, it in info.items() if what != "failed"} == {"success"}, info
    assert info["failed"].state == "error" and isinstance(info["failed"].error, vmodl.MethodFault), info["failed"]
    assert info["create"].descriptionId == "Folder.create" and info["create"].result.name == "kept"
    assert info["clone"].result.name == "clone" and info["clone"].descriptionId == "VirtualMachine.clone"
    assert info["on"].entity.name == "kept" and info["on"].reason.userName.startswith("administrator@")
    recent = si.content.taskManager.recentTask
    assert info["on"].task in recent and len(recent) >= 4
    WaitForTask(info["clone"].task)
    unknown = vim.Task("task-00000000-0000-4000-8000-000000000000", si._stub)
    refused(vmodl.fault.ManagedObjectNotFound, lambda: unknown.info)
Disconnect(si)
