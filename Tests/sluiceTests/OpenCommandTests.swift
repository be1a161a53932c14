// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Gate
import Linux
import PCI
import Testing
import Trace
import VMM

@testable import sluice

@Suite struct OpenCommandTests {
  @Test("the devices are before the terminator, and the command is after it")
  func arguments() throws {
    let command = try OpenCommand.parse([
      "--bind", "--user", "lab", "--memory-limit", "2G", "01:00.0", "0000:02:00.0", "--", "sluice", "run",
      "--bind", "--", "x",
    ])
    #expect(command.bind && command.user == "lab" && command.memoryLimit == 2 << 30)
    let request = try command.request()
    #expect(request.devices.map(\.address.description) == ["0000:01:00.0", "0000:02:00.0"])
    #expect(request.command == ["sluice", "run", "--bind", "--", "x"])
    let plain = try OpenCommand.parse(["01:00.0", "--", "true"])
    #expect(!plain.bind && plain.user == nil && plain.memoryLimit == nil && plain.iommu.interface == nil)
    #expect(try plain.request().command == ["true"])
  }

  @Test("a configuration file of run gives the devices and the interface to the IOMMU")
  func file() throws {
    let file = FileManager.default.temporaryDirectory.appending(path: "open-\(UUID().uuidString).conf")
    defer { try? FileManager.default.removeItem(at: file) }  // only a leftover
    try Data("kernel /k\ndevice 01:00.0,peer-dma=off\niommu type1\n".utf8).write(to: file)
    let arguments = ["--config", file.path, "02:00.0", "--", "sluice", "run"]
    let request = try OpenCommand.parse(arguments).request()
    #expect(request.devices.map(\.address.description) == ["0000:02:00.0", "0000:01:00.0"])
    #expect(request.devices[1].policies.peerDMA == .off && request.interface == .type1)
    let other = try OpenCommand.parse(["--iommu", "iommufd"] + arguments).request()
    #expect(other.interface == .iommufd && other.command == ["sluice", "run"])
    try Data("kernel /k\n".utf8).write(to: file)
    #expect(try OpenCommand.parse(["--config", file.path, "--", "true"]).request().devices.isEmpty)
    try Data("kernel /k\nmemory none\n".utf8).write(to: file)
    let wrong = #expect(throws: WrongUsage.self) {
      try OpenCommand.parse(["--config", file.path, "--", "true"]).request()
    }
    #expect(wrong.map { "\($0)".contains("\(file.path):2: ") } == true)
  }

  @Test(
    "wrong usage names the argument and ends with status 2",
    .enabled(if: Program.isBuilt, "the program sluice is not beside the tests"),
    arguments: [
      (["--", "true"], "device: no PCI address; give one such as 0000:01:00.0"),
      (["01:00.0"], "command: none; give one after --"),
      (["01:00.0", "0000:01:00.0", "--", "true"], "device: named twice; name each device once"),
      (["nvme0", "--", "true"], "'nvme0' is not a PCI address"),
      (["01:00.0", "--bind", "--", "true"], "'--bind' is not a PCI address"),
      (["--memory-limit", "2G,prealloc", "01:00.0", "--", "true"], "'2G,prealloc' is not a size"),
      (
        ["--user", "no-such-user", "01:00.0", "--", "true"],
        "user no-such-user: not in /etc/passwd; give --user"
      ),
    ] as [([String], String)])
  func usage(_ arguments: [String], _ text: String) async throws {
    let result = try await Program.run(["open"] + arguments)
    #expect(result.status == 2)
    #expect(result.messages.contains(text), "\(result.messages)")
  }

  @Test(
    "a device that the host does not have is named, with status 1",
    .enabled(if: Program.isBuilt, "the program sluice is not beside the tests"), arguments: [[], ["--bind"]])
  func noDevice(_ options: [String]) async throws {
    let result = try await Program.run(["open"] + options + ["ffff:ff:1f.7", "--", "true"])
    #expect(result.status == 1)
    #expect(
      result.messages
        == "sluice: device ffff:ff:1f.7: the host has no PCI device there; type 'sluice devices' to list them\n"
    )
  }

  @Test("a problem has the subject, the cause and the remedy")
  func messages() {
    let denied = KernelError("setgroups", errno: EPERM)
    let messages: [(OpenProblem, String)] = [
      (.noUser("lab"), "user lab: not in /etc/passwd; give --user a user of /etc/passwd"),
      (.user("lab", denied), "user lab: setgroups: Operation not permitted; run the command with sudo"),
      (
        .limit(KernelError("setrlimit RLIMIT_MEMLOCK", errno: EPERM)),
        "setrlimit RLIMIT_MEMLOCK: Operation not permitted; run the command with sudo"
      ),
      (.passing(KernelError("dup2", errno: EBADF)), "dup2: Bad file descriptor"),
      (
        .program("x", KernelError("execve", errno: ENOENT)),
        "command x: execve: No such file or directory; check the command's path and permissions"
      ),
      (
        .left("0000:01:00.0", cause: "c"),
        "device 0000:01:00.0: stays bound to vfio-pci: c; type 'sudo sluice unbind 0000:01:00.0'"
      ),
    ]
    for (problem, message) in messages { #expect(problem.message == message) }
  }
}
