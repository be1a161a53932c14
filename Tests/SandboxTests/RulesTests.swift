// SPDX-License-Identifier: Apache-2.0

import Linux
import Testing
import Trace
import VMM

@testable import Sandbox

@Suite struct RulesTests {
  private static func requests(_ rule: Rule) -> [Rule.Request] {
    if case .requests(let requests) = rule.condition { requests } else { [] }
  }

  private static func requests(of kind: ThreadKind) -> [Rule.Request] {
    Rule.machine(.type1).filter { $0.threads.contains(kind) }.flatMap { requests($0) }
  }

  @Test("every rule and every request has a reason, and every rule has a thread")
  func reasons() {
    for rule in Rule.machine(.type1) {
      #expect(!rule.reason.isEmpty, "\(rule.call)")
      #expect(!rule.threads.isEmpty, "\(rule.call)")
      for request in Self.requests(rule) { #expect(!request.reason.isEmpty, "\(request.name)") }
    }
  }

  @Test("a rule for a call unknown to libseccomp is an error without an errno of the kernel")
  func unknownCall() {
    let error = #expect(throws: SandboxError.self) {
      _ = try Filter(.vcpu, rules: [Rule("no_such_call", [.vcpu], "none")])
    }
    #expect(error == .library("seccomp_syscall_resolve_name no_such_call", code: nil))
    #expect(error?.description == "seccomp_syscall_resolve_name no_such_call: libseccomp failed")
    // A rule for another kind of thread is not compiled.
    #expect(throws: Never.self) { try Filter(.pin, rules: [Rule("no_such_call", [.vcpu], "none")]) }
    let refused = SandboxError.library("seccomp_rule_add_array read", code: KernelError.invalid)
    #expect(refused.description == "seccomp_rule_add_array read: libseccomp: Invalid argument")
    let kernel = KernelError("memfd_create", errno: KernelError.tooManyFiles)
    #expect(SandboxError.kernel(kernel).description == kernel.description)
  }

  @Test("a kind of thread has one rule per system call", arguments: ThreadKind.allCases)
  func unique(_ kind: ThreadKind) {
    let calls = Rule.machine(.type1).filter { $0.threads.contains(kind) }.map(\.call)
    #expect(Set(calls).count == calls.count)
    #expect(calls.count > 5)
  }

  @Test(
    "devices in other processes add calls, and a kind of thread still has one rule per call",
    arguments: [nil, .type1, .iommufd] as [IOMMUInterface?])
  func servers(_ interface: IOMMUInterface?) {
    let rules = Rule.machine(interface, hasServers: true)
    for kind in ThreadKind.allCases {
      let calls = rules.filter { $0.threads.contains(kind) }.map(\.call)
      #expect(Set(calls).count == calls.count, "\(kind)")
      #expect(calls.contains("sendmsg") == [.vcpu, .control, .device, .hotplug, .reader].contains(kind))
      #expect(calls.contains("recvmsg") == [.socket, .hotplug, .reader].contains(kind))
      #expect(throws: Never.self) { try Filter(kind, rules: rules) }
    }
    let without = Rule.machine(interface).map(\.call)
    #expect(!without.contains("sendmsg") && !without.contains("shutdown"))
  }

  @Test("a kind of thread has one entry per request", arguments: ThreadKind.allCases)
  func uniqueRequests(_ kind: ThreadKind) {
    let requests = Self.requests(of: kind)
    #expect(Set(requests.map(\.name)).count == requests.count)
    #expect(Set(requests.map(\.number)).count == requests.count)
    #expect(!requests.isEmpty)
  }

  @Test("ioctl is allowed only with listed requests")
  func requestsOnly() {
    for rule in Rule.machine(.type1) { #expect((rule.call == "ioctl") == !Self.requests(rule).isEmpty) }
  }

  @Test("each request's number has the type of the interface in its name")
  func numbers() {
    // The type byte of _IOC, bits 15:8: KVMIO 0xAE, VFIO_TYPE ';', terminals 'T'.
    let types: [(String, UInt)] = [
      ("KVM_", 0xAE), ("VFIO_", 0x3B), ("IOMMU_", 0x3B), ("TC", 0x54), ("TIOC", 0x54),
    ]
    let all = (Rule.machine(.type1) + Rule.machine(.iommufd)).flatMap(Self.requests)
    for request in all {
      let type = types.first { request.name.hasPrefix($0.0) }?.1
      #expect(request.number >> 8 & 0xFF == type, "\(request.name)")
      let same = all.filter { $0.name == request.name }
      #expect(Set(same.map(\.number)).count == 1, "\(request.name)")
    }
  }

  @Test("only a vCPU thread runs the guest")
  func run() {
    for kind in ThreadKind.allCases {
      #expect(Self.requests(of: kind).contains { $0.name == "KVM_RUN" } == (kind == .vcpu))
    }
  }

  @Test("no rule allows opening files, starting programs, connecting or gaining privileges")
  func dangerous() {
    let calls = Set((Rule.machine(.type1) + Rule.machine(.iommufd)).map(\.call))
    let dangerous = [
      "open", "openat", "openat2", "execve", "execveat", "clone", "clone3", "fork", "vfork", "socket",
      "connect", "ptrace", "process_vm_writev", "mount", "setns", "unshare", "bpf", "io_uring_setup",
      "seccomp", "prctl", "kill", "sendmsg", "dup", "dup3", "memfd_create",
    ]
    #expect(calls.isDisjoint(with: dangerous))
  }

  @Test("the filter of every kind of thread compiles", arguments: ThreadKind.allCases)
  func compiles(_ kind: ThreadKind) {
    #expect(throws: Never.self) { try Filter(kind, rules: Rule.machine(.type1)) }
  }

  @Test("the process that connects to devices again has one rule per call, and opens no file")
  func connector() throws {
    let calls = Rule.connector.map(\.call)
    #expect(Set(calls).count == calls.count)
    let forbidden = ["open", "openat", "execve", "ioctl", "read", "write", "bind", "ptrace"]
    #expect(Set(calls).isDisjoint(with: forbidden))
    _ = try Rule.connectorSandbox()
    let text = Rule.describe([], LayerChoice(), hasConnector: true)
    #expect(text.contains("\nconnector (a process):\n") && text.contains("\n  connect  # "))
    #expect(!Rule.describe([], LayerChoice()).contains("connector"))
  }

  @Test("the description has a line for each call and each request of each kind of thread")
  func describe() {
    let all = Rule.machine(.type1, hasServers: true)
    let lines = Rule.describe(all, LayerChoice()).split(separator: "\n", omittingEmptySubsequences: false)
    #expect(!Rule.describe(Rule.machine(.type1), LayerChoice()).contains("reader:"))
    #expect(lines.last == "")
    for kind in ThreadKind.allCases {
      let section = lines.drop { $0 != "\(kind.rawValue):" }.dropFirst().prefix { $0.hasPrefix("  ") }
      let rules = all.filter { $0.threads.contains(kind) }
      let expected = rules.map { max(1, Self.requests($0).count) }.reduce(0, +)
      #expect(section.count == expected)
      #expect(section.allSatisfy { $0.contains("  # ") })
      for rule in rules { #expect(section.contains { $0.hasPrefix("  \(rule.call) ") }, "\(rule.call)") }
    }
    // linux/kvm.h: _IO(KVMIO, 0x80).
    #expect(lines.contains("  ioctl KVM_RUN 0xae80  # run the guest"))
    #expect(lines.contains { $0.hasPrefix("  mmap (prot without PROT_EXEC, MAP_PRIVATE|MAP_ANONYMOUS") })
    for layer in Layer.allCases {
      #expect(lines.contains("# \(layer.rawValue): \(layer.text)"))
    }
  }
}
